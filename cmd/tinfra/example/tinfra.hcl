# Where things are, for every recipe in this folder and below. All of it may be left out.

# cache = "/data/tinfra"     # default: $TINFRA_CACHE, else tinfra in your cache folder
# jobs  = 2                  # stages at once; default: as many as the machine has room for
# kinds = ["./kinds"]        # folders with stage kinds of your own

# download {
#   allowed_hosts = ["huggingface.co"]  # https downloads from other hosts are refused
# }

# executor "local" {         # what of this machine stages may use; default: all of it
#   cpus       = 8
#   memory_gib = 48
#   gpus       = ["0"]
# }

# remote "s3" {              # a bucket that machines share: what one has built, the others find there
#   bucket   = "models"
#   endpoint = "https://minio.example.org:9000"  # AWS where left out
#   prefix   = "team-a"
# }                          # credentials as for any AWS tool; `tinfra doctor` looks whether the bucket is fit
