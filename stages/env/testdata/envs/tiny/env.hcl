doc    = "One small package, for tests."
python = ["3.11", "3.12", "3.13", "3.14", "3.10"]
