kind        = "corpus"
doc         = "Makes one plain text of a dataset's files, as hubs serve them: Parquet, JSON lines, CSV or plain text, packed or not. Documents are joined in the order of the files' paths and of their rows."
env         = "torch"
determinism = "exact"

needs {
  memory_gib = 2
}

param "file" {
  type    = string
  default = "**/*"
  doc     = "Which files of the input; a glob. All of one format."
}

param "column" {
  type    = string
  default = "text"
  doc     = "The column, or JSON field, that holds the text."
}

param "separator" {
  type    = string
  default = "\n\n"
  doc     = "What stands between two documents. Perplexity on WikiText is usually given for a blank line."
}

param "documents" {
  type     = number
  optional = true
  integer  = true
  min      = 1
  doc      = "How many documents are used, from the first; all when left out."
}

input "files" {
  type = "files"
}

output "text" {
  type = "dataset/text"
}

metric "documents" {
  unit = "1"
}

metric "bytes" {
  unit = "byte"
}
