module "ping" {
  source = "../modules/ping.hcl" # ERROR: modules/ping.hcl → modules/pong.hcl → modules/ping.hcl.
}
