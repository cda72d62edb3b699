"""Train networks: the loop, augmentation, alignment, and one objective a file."""
