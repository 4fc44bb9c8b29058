# Writes types.gguf beside it, with gguf 0.19.0: python3 make_gguf.py
# Each tensor but the first two is two rows of one block, all of its bytes the number of its type.
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGUFValueType, GGUFWriter

w = GGUFWriter(Path(__file__).with_name("types.gguf"), "toy")
w.add_custom_alignment(64)
for kind, value in {"UINT8": 8, "INT8": -8, "UINT16": 16, "INT16": -16, "UINT32": 32, "INT32": -32, "UINT64": 64, "INT64": -64}.items():
    w.add_key_value(f"v.{kind.lower()}", value, GGUFValueType[kind])
w.add_key_value("v.float32", 0.5, GGUFValueType.FLOAT32)
w.add_key_value("v.float64", 0.25, GGUFValueType.FLOAT64)
w.add_key_value("v.bool", True, GGUFValueType.BOOL)
w.add_key_value("v.string", "ä", GGUFValueType.STRING)
w.add_array("a.numbers", [1, 2, 3])
w.add_array("a.strings", ["a", "", "bc"])
w.add_array("a.bools", [True, False])
w.add_array("a.nested", [[1, 2], [3]])
w.add_tensor("token_embd.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
w.add_tensor("norm", np.arange(5, dtype=np.float16))
for kind, (_, size) in GGML_QUANT_SIZES.items():
    w.add_tensor(f"t.{kind.name}", np.full((2, size), kind, dtype=np.uint8), raw_dtype=kind)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
