stage "download" "right" {
  source = "https://example.org/a"
  token  = secret("HF_TOKEN")
}

stage "download" "text" {
  source = "https://example.org/a"
  token  = "hf_abc" # ERROR: token takes secret("NAME")
}

stage "download" "param" {
  source = secret("HF_TOKEN") # ERROR: source is a plain param, which is stored and shown. Secrets go to token.
}

stage "download" "interpolated" {
  source = "https://${secret("HF_TOKEN")}@example.org/" # ERROR: Invalid template interpolation
}

stage "download" "name" {
  source = "https://example.org/a"
  token  = secret("HF TOKEN") # ERROR: it must be the name of an environment variable
}

stage "exec" "inside" {
  command = [secret("A")] # ERROR: command is a plain param, which is stored and shown. exec takes no secrets.
}

stage "onnx" "input" {
  model = secret("A") # ERROR: model takes an artifact of type model/hf
}

output "secret" {
  value = secret("A") # ERROR: A secret cannot be an output.
}

output "encoded" {
  value = jsonencode({ a = secret("A") }) # ERROR: a secret has no text
}
