kind        = "text"
doc         = "Makes plain text of a bzip2-packed MediaWiki dump: markup, tables, lists and short paragraphs go, prose stays. Articles are dealt out to two outputs, so that what measures a model was not used to calibrate it."
env         = "fetch"
determinism = "exact"

needs {
  memory_gib = 1
}

param "file" {
  type    = string
  default = "**/*pages-articles*.bz2"
  doc     = "Which file of the input; a glob that matches one."
}

param "min_chars" {
  type    = number
  default = 2000
  integer = true
  min     = 1
  max     = 1000000
  doc     = "Articles with less prose than this are left out."
}

param "every" {
  type    = number
  default = 5
  integer = true
  min     = 2
  max     = 1000
  doc     = "Every so many articles one is held out, the first among them."
}

input "files" {
  type = "files"
  doc  = "Holds the dump."
}

output "calibration" {
  type = "dataset/text"
}

output "heldout" {
  type = "dataset/text"
}

metric "calibration_articles" {
  unit = "1"
}

metric "heldout_articles" {
  unit = "1"
}

metric "calibration_bytes" {
  unit = "byte"
}

metric "heldout_bytes" {
  unit = "byte"
}
