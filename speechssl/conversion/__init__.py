"""Source and voice to sound: retrieve frames of the voice and vocode them."""
