stage "download" "base" {
  source = "https://example.org/base"
}

module "one" {
  source = "./modules/quantize.hcl"
  model  = download.base.model
}

module "many" {
  for_each = { g128 = 4, g64 = 3 }
  source   = "./modules/quantize.hcl"
  model    = download.base.model
  bits     = each.value
}

stage "onnx" "unknown" {
  model = module.on.model # ERROR: There is no module "on". Did you mean one?
}

stage "onnx" "nothing" {
  model = module # ERROR: Write module.NAME.OUTPUT. There are: many, one.
}

stage "onnx" "output" {
  model = module.one.modle # ERROR: module.one has no output "modle". Did you mean model?
}

stage "onnx" "variable" {
  model = module.one.bits # ERROR: "bits" is a variable of module.one, and no output of it.
}

stage "onnx" "inside" {
  model = module.one.gptq.int4.model # ERROR: module.one has no output "gptq".
}

stage "onnx" "port" {
  model = module.one.all.modle # ERROR: There is no "modle" here. Did you mean model?
}

stage "onnx" "unindexed" {
  model = module.many.model # ERROR: say which instance is meant: module.many["g128"].model.
}

stage "onnx" "indexed" {
  model = module.one["g128"].model # ERROR: module.one has no for_each
}

stage "onnx" "key" {
  model = module.many["g32"].model # ERROR: module.many has no instance "g32". There are: g128, g64.
}

stage "onnx" "dynamic" {
  for_each = toset(["g128", "g16"])
  model    = module.many[each.key].model # ERROR: module.many has no instance "g16".
}

stage "onnx" "many_output" {
  model = module.many["g64"].modle # ERROR: module.many has no output "modle". Did you mean model?
}

stage "onnx" "chained" {
  for_each = module.many
  model    = each.value.modle # ERROR: There is no "modle" here. Did you mean model?
}

stage "onnx" "whole" {
  model = module.one # ERROR: model takes an artifact of type model/hf.
}

stage "gptq" "metric" {
  model = download.base.model
  bits  = module.one.all.metrics.bits_per_weight # ERROR: module.one.gptq.int4.metrics.bits_per_weight is known only after a run
}

output "metric" {
  value = module.one.all.metrics.bits_per_weight # ERROR: is known only after a run
}
