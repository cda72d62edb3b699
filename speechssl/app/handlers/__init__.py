"""What the page and its endpoints do: one module per job."""
