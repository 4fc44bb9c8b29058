name = "x" # ERROR: Put name into locals { … }.

recipe {
  description = 1 # ERROR: description is a text.
  descripton  = "x" # ERROR: Did you mean description?
}

recipe { # ERROR: A recipe has one recipe block.
}

resource "gptq" "a" { # ERROR: A recipe is made of stage blocks
}

stages "gptq" "a" { # ERROR: A recipe has no "stages" blocks. Did you mean stage?
}

stage "download" { # ERROR: Write it as stage "KIND" "NAME" { … }.
}

stage "download" "a b" { # ERROR: "a b" is no name
  source = "x"
}

locals {
  a = 1
}

locals {
  a = 2 # ERROR: local.a stands already in line
  b { # ERROR: There is no b block in locals
  }
}

output "a" { # ERROR: An output needs a value
}

output "b" {
  value = download.c.files
  vlaue = 1 # ERROR: Did you mean value?
}

output "b" { # ERROR: output "b" stands already in line
  value = 1
}

output "c" {
  value = [download.c.files] # ERROR: Ports in an output need names
}

output "d" {
  value = path("*.hcl") # ERROR: an output is a port of a stage
}

stage "download" "c" {
  source = upper(lowr("A")) # ERROR: There is no function named "lowr".
}

stage "download" "clock" {
  source = timestamp() # ERROR: No function reads a clock
}

stage "download" "self" {
  source = self.source # ERROR: There is no "self" here.
}

stage "download" "module" {
  source = path.module # ERROR: Files below the recipe's folder are given by path("dir/**").
}

stage "download" "file" {
  source = file("/etc/passwd") # ERROR: it is absolute
}

stage "download" "no_file" {
  source = file("none.txt") # ERROR: none.txt cannot be read: there is no such file.
}
