"""What was made, of whose recordings, signed; and the mark in the sound."""
