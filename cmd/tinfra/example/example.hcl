# Three stages in plain shell. `tinfra build` runs them; a second build runs nothing, since nothing changed.
# Edit the text or a command, and `tinfra plan` says what would run again, and why.

recipe {
  description = "Counts the words of a few texts"
}

variable "top" {
  type        = number
  default     = 5
  description = "How many words to show."

  validation {
    condition     = var.top > 0
    error_message = "There must be a word to show."
  }
}

# An input is laid at in/inputs/<its key>; what a stage makes goes to out/files.
stage "exec" "words" {
  command = ["sh", "-c", "cat in/inputs/texts/texts/*.txt | tr -cs '[:alpha:]' '\\n' | tr '[:upper:]' '[:lower:]' > out/files/words.txt"]
  inputs  = { texts = path("texts/*.txt") }
}

# A reference to another stage's port is what orders the two.
stage "exec" "counted" {
  command = ["sh", "-c", "sort in/inputs/words/words.txt | uniq -c | sort -rn > out/files/counts.txt"]
  inputs  = { words = exec.words.files }
}

stage "exec" "top" {
  command = ["sh", "-c", "head -n ${var.top} in/inputs/counts/counts.txt > out/files/top.txt"]
  inputs  = { counts = exec.counted.files }
}

output "top" {
  value = exec.top.files
}

# From here to a model: `tinfra kinds` lists what a stage can do, and `tinfra kinds gptq` says how.
