# ERROR: must have kind # ERROR: must have doc # ERROR: must have determinism
