doc    = "What builds and runs models on an NVIDIA GPU: PyTorch, TensorRT, INT4 kernels."
python = ["3.11", "3.12"] # those that TensorRT's bindings are built for

# The libraries that the bindings of this version load. PyPI's packages of them hold nothing: they fetch from their maker's own index.
native "tensorrt" {
  maven  = "org.bytedeco:tensorrt:10.6-1.5.11:jar:linux-x86_64-redist"
  sha256 = "e7979693541f996bc284335b05f5e890a82b8b3aba50d680e1343a139cf291c4"
  size   = 1090347946
  os     = "linux"
  arch   = "x86_64"
  file "org/bytedeco/tensorrt/linux-x86_64/libnvinfer.so.10" {
    sha256 = "f78b8f1962da16466df8ace14418886a5dedcfa9cf0af82fe36677229fbff420"
    to     = "lib/libnvinfer.so.10"
  }
  file "org/bytedeco/tensorrt/linux-x86_64/libnvinfer_builder_resource.so.10.6.0" {
    sha256 = "a8739cdbf89ade0b3a2e66e4ca5123c46a0ce4be77d38ff5c9ceb1dbb317e00e"
    to     = "lib/libnvinfer_builder_resource.so.10.6.0"
  }
  file "org/bytedeco/tensorrt/linux-x86_64/libnvinfer_plugin.so.10" {
    sha256 = "ca7562273a0783035849d0163a905f1f8ccfdc46e17e9e942b70239ec1251374"
    to     = "lib/libnvinfer_plugin.so.10"
  }
  file "org/bytedeco/tensorrt/linux-x86_64/libnvonnxparser.so.10" {
    sha256 = "d33b38ec4a98a89721aea507ddb4a648f43ae1cbbd4d22808b7c88d740caad8f"
    to     = "lib/libnvonnxparser.so.10"
  }
}
