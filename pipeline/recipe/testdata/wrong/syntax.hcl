stage "download" "base" {
  source = "https://example.org/base" "x" # ERROR: Missing newline after argument
}
