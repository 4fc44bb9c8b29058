kind        = "onnx"
doc         = "Exports a causal LM to an ONNX graph with its key-value cache as inputs and outputs, by onnxruntime-genai's model builder, for onnxruntime and onnxruntime-genai on the CPU. Batch and sequence are dynamic; tensors lie in a file beside the graph. 4-bit weights of a checkpoint become MatMulNBits nodes with the same integers, scales and zero points."
env         = "torch"
uses        = ["lib/llm", "lib/onnx"]
determinism = "exact"

needs {
  cpus       = 2
  memory_gib = 6
}

param "precision" {
  type    = string
  default = "float32"
  one_of  = ["float32", "int4"]
  doc     = "float32 exports a checkpoint that is not quantized; int4 keeps the 4-bit weights of one that is. Layers that the checkpoint left alone stay float32."
}

param "lm_head" {
  type    = string
  default = "keep"
  one_of  = ["keep", "int8", "int4"]
  doc     = "keep leaves the head as the checkpoint has it. int8 and int4 round it to nearest in groups of 16, with precision int4 only; int4 costs much quality. An int8 head is computed at accuracy level 4, since onnxruntime has no fast code for it at 1."
}

param "accuracy_level" {
  type    = number
  default = 1
  one_of  = [1, 4]
  doc     = "How MatMulNBits computes: 1 in float32, 4 with activations rounded to 8 bits, which is faster and less exact."
}

input "model" {
  type = "model/hf"
  doc  = "The model: not quantized, or with 4-bit group-wise weights from gptq, awq or rtn."
}

input "tokenizer" {
  type     = "tokenizer/hf"
  optional = true
  doc      = "The tokenizer to lay beside the graph; without it, that of the model's folder."
}

output "model" {
  type = "model/onnx"
  doc  = "model.onnx, model.onnx.data, genai_config.json, the model's config.json and the tokenizer's files."
}

metric "size_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "The graph and its tensors."
}

metric "matmul_nbits" {
  unit = "1"
  doc  = "MatMulNBits nodes of the graph. The builder joins q, k and v of a layer where their shapes let it."
}
