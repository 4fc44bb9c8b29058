kind        = "exec"
doc         = "Runs a command as it is, without a worker. What it writes below out/files/ is the output. The command, the values of the named environment variables and the sha256 of the program decide the key; a script that the program reads does not, unless it comes in by an input."
determinism = "statistical"
native      = true

param "command" {
  type = list(string)
  doc  = "The program and its arguments. The working directory is the workspace: inputs lie in in/inputs/<key>/."
}

param "env" {
  type    = list(string)
  default = []
  environ = true
  doc     = "Names of the caller's environment variables that the command may see. Their values are part of the key."
}

input "inputs" {
  type     = "*"
  map      = true
  optional = true
  doc      = "What the command reads, by a name of your choice: in/inputs/<name>/."
}

output "files" {
  type = "files"
  doc  = "Everything below out/files/."
}
