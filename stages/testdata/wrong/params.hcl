kind        = "params" # ERROR: this one has 1 and 0
doc         = "x"
determinism = "exact"

param "bits" {
  type    = number
  one_of  = [2, 4, 8]
  default = 3 # ERROR: Bits must be one of 2, 4, 8, not 3; did you mean 2?
  doc     = "x"
}
param "part" {
  type    = number
  min     = 0
  max     = 1
  default = 1.5 # ERROR: Part must be at most 1, not 1.5
  doc     = "x"
}
param "whole" {
  type    = list(number)
  integer = true
  default = [1, 2.5] # ERROR: Whole[1] must be a whole number, not 2.5
  doc     = "x"
}
param "scheme" {
  type    = string
  one_of  = ["symmetric", "asymmetric"]
  default = "symetric" # ERROR: did you mean "symmetric"?
  doc     = "x"
}
param "name" {
  type    = string
  pattern = "[a-z]+"
  default = "Abc" # ERROR: must match [a-z]+
  doc     = "x"
}
param "text" {
  type    = number
  default = "many" # ERROR: default must be a number
  doc     = "x"
}
param "for_each" { # ERROR: "for_each" means something in every stage block
  type = string
  doc  = "x"
}
param "metrics" { # ERROR: "metrics" means something
  type = string
  doc  = "x"
}
param "two-words" { # ERROR: "two-words" is not a name
  type = string
  doc  = "x"
}
param "untyped" { # ERROR: must have type # ERROR: must have doc
}
param "any" {
  type = any # ERROR: type
  doc  = "x"
}
param "typo" {
  type = strin # ERROR: not a valid type
  doc  = "x"
}
param "both" {
  type     = string
  optional = true
  default  = "x" # ERROR: remove optional
  doc      = "x"
}
param "crossed" {
  type = number
  min  = 3 # ERROR: min is more than max
  max  = 2
  doc  = "x"
}
param "misfit" {
  type = string # ERROR: min, max and integer are for numbers
  min  = 3
  doc  = "x"
}
param "badpattern" {
  type    = string
  pattern = "[a-" # ERROR: error parsing regexp
  doc     = "x"
}
param "numpattern" {
  type    = number
  pattern = "a" # ERROR: pattern is for strings
  doc     = "x"
}
param "noneof" {
  type   = string
  one_of = [] # ERROR: one_of is empty
  doc    = "x"
}
param "objectof" {
  type   = object({ a = string })
  one_of = [1] # ERROR: one_of is for strings
  doc    = "x"
}
param "huge" {
  type    = number
  default = 9007199254740993 # ERROR: within ±2^53
  doc     = "x"
}
param "none" {
  type    = string
  default = null # ERROR: leave the line out
  doc     = "x"
}
param "nested" {
  type = string
  doc  = "x"
  check { # ERROR: holds attributes only
  }
}
param "src" {
  type   = number
  source = true # ERROR: A source is a string
  doc    = "x"
}
