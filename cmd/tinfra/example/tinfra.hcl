# Where things are, for every recipe in this folder and below. All of it may be left out.

# cache = "/data/tinfra"     # default: $TINFRA_CACHE, else tinfra in your cache folder
# kinds = ["./kinds"]        # folders with stage kinds of your own
