locals {
  a = local.b # ERROR: These need one another's values: local.a → local.b → local.c → local.a.
  b = local.c
  c = local.a
  d = local.d # ERROR: local.d → local.d
  e = local.a
  keys = keys(gptq.x) # ERROR: local.keys → gptq.x → local.keys
}

stage "download" "base" {
  source = local.e
}

stage "gptq" "x" {
  for_each = toset(local.keys)
  model    = download.base.model
}

stage "gptq" "y" {
  for_each = gptq.z # ERROR: gptq.y → gptq.z → gptq.y
  model    = download.base.model
}

stage "gptq" "z" {
  for_each = gptq.y
  model    = download.base.model
}
