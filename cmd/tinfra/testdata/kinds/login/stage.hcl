kind        = "login"
doc         = "Uses a secret, and is careless with it."
determinism = "statistical"
command     = ["testworker"]

secret "token" {
  env = "TEST_TOKEN"
  doc = "A password."
}
output "files" {
  type = "files"
  doc  = "How long the secret was."
}
