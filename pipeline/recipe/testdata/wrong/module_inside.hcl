stage "download" "base" {
  source = "https://example.org/base"
}

module "broken" {
  source = "./modules/broken.hcl"
  model  = download.base.model
}

module "again" {
  source = "./modules/broken.hcl"
  model  = download.base.files
}

module "syntax" {
  source = "./modules/syntax.hcl"
}

stage "onnx" "after" {
  model = module.broken.model
}

stage "onnx" "silent" {
  model = module.syntax.anything
}
