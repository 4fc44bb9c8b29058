# ERROR: The recipe has no stage block.
