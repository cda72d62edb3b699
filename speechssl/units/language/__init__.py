"""Units as language models read them: tokens, pairs, packed blocks."""
