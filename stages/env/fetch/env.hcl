doc    = "What a download needs: pip and an HTTP client."
python = ["3.11", "3.12", "3.13"]
