raise SystemExit("this worker is never meant to run")
