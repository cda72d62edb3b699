"""Train networks: the loop, augmentation, alignment, one objective a file, and probes of what a network learnt."""
