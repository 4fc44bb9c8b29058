kind        = "onnx_decoder"
doc         = "Writes a Llama-shaped causal LM as an ONNX graph for TensorRT, whose key-value cache belongs to the caller: the graph reads it and hands out the new keys and values only. Tensors stay in the checkpoint's own safetensors files, which become part of the output without being copied; so it takes seconds at any size. 4-bit weights of gptq, awq and rtn become block-wise DequantizeLinear nodes with the same integers and scales; 8-bit weights and activations of int8 become QuantizeLinear and DequantizeLinear nodes."
env         = "torch"
uses        = ["lib/hf", "lib/llm", "lib/onnx"]
determinism = "exact"

needs {
  memory_gib = 4
  gpus       = "0-1"
}

param "dtype" {
  type    = string
  default = "float16"
  one_of  = ["float16", "bfloat16", "float32"]
  doc     = "What the graph computes in, and the type of its cache and logits. Weights that are stored in another type are cast by the graph, once, when an engine is built."
}

param "accumulate" {
  type    = string
  default = "float32"
  one_of  = ["float32", "dtype"]
  doc     = "In what products by weights are summed. TensorRT sums those of float16 in float16 where it is not told otherwise, which loses as much as bfloat16 does; bfloat16 it sums in float32 anyway. Products of 8-bit integers are summed as integers in any case."
}

input "model" {
  type = "model/hf"
  doc  = "A LlamaForCausalLM, or a MistralForCausalLM without a sliding window: not quantized, with 4-bit group-wise weights from gptq, awq or rtn, or with 8-bit weights and activations from int8."
}

input "tokenizer" {
  type     = "tokenizer/hf"
  optional = true
  doc      = "The tokenizer to lay beside the graph; without it, that of the model's folder."
}

output "model" {
  type = "model/onnx-decoder"
  doc  = "model.onnx; decoder.json, which says its sizes; added.safetensors with what the checkpoint has not, or not in this form; the checkpoint's safetensors files that the graph points into; config.json and the tokenizer's files."
}

metric "size_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "The graph and all files that it points into."
}

metric "added_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "What was written: the graph and added.safetensors."
}

metric "weight_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "What a step of one token reads: all weights but the embedding."
}

metric "nodes" {
  unit   = "1"
  better = "lower"
  doc    = "Nodes of the graph; the attention of a layer is one."
}
