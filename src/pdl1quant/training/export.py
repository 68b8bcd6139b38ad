"""A fitted model as ONNX: trees summed to logits, then a softmax.

Written node by node with onnx: the thresholds are rounded so that single precision decides as the model does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.extras import import_extra

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Float64Array, IntpArray
    from pdl1quant.training.fit import Fitted

INPUT, OUTPUT = "features", "probabilities"
_OPSET, _ML_OPSET, _IR = 17, 3, 8
"""Old enough for every onnxruntime that the package allows."""


def to_onnx(fitted: Fitted) -> bytes:
    """The model and its temperature as an ONNX file.

    Input ``features`` (n, k) float32, output ``probabilities`` (n, classes) float32, rows sum to 1.

    Raises
    ------
    UsageError
        onnx is not installed.
    """
    onnx = import_extra("onnx", package="onnx", extra="train")
    n_classes, size = len(fitted.classes), len(fitted.names)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("TreeEnsembleRegressor", [INPUT], ["logits"], domain="ai.onnx.ml", **_ensemble(fitted)),
        helper.make_node("Softmax", ["logits"], [OUTPUT], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(INPUT, kind, ["n", size])],
        [helper.make_tensor_value_info(OUTPUT, kind, ["n", n_classes])],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="pdl1quant")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _ensemble(fitted: Fitted) -> dict[str, Any]:
    """Attributes of the ensemble: an entry per node of each tree, and per leaf."""
    n_classes = len(fitted.classes)
    shift = n_classes - np.size(fitted.model._baseline_prediction)  # noqa: SLF001  two classes: one tree, for the second
    base = np.zeros(n_classes)
    base[shift:] = np.ravel(fitted.model._baseline_prediction)  # noqa: SLF001
    nodes: list[Any] = []
    tree: list[IntpArray] = []
    target: list[IntpArray] = []
    for trees in fitted.model._predictors:  # noqa: SLF001  nothing public holds the trees
        for k, each in enumerate(trees, start=shift):
            if len(each.nodes) == 1:  # a leaf alone adds the same to each cell
                base[k] += each.nodes["value"][0]
                continue
            tree.append(np.full(len(each.nodes), len(nodes)))
            target.append(np.full(len(each.nodes), k))
            nodes.append(each.nodes)
    node, of, to = np.concatenate(nodes), np.concatenate(tree), np.concatenate(target)
    number = np.concatenate([np.arange(len(each)) for each in nodes])
    leaf = node["is_leaf"].astype(bool)
    weight = (node["value"] / fitted.temperature).astype(np.float32)
    return {
        "n_targets": n_classes,
        "base_values": (base / fitted.temperature).astype(np.float32).tolist(),
        "nodes_treeids": of.tolist(),
        "nodes_nodeids": number.tolist(),
        "nodes_featureids": np.where(leaf, 0, node["feature_idx"]).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": np.where(leaf, 0, _not_above(node["num_threshold"])).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, node["left"]).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, node["right"]).tolist(),
        "target_treeids": of[leaf].tolist(),
        "target_nodeids": number[leaf].tolist(),
        "target_ids": to[leaf].tolist(),
        "target_weights": weight[leaf].tolist(),
    }


def _not_above(threshold: Float64Array) -> Float32Array:
    """The highest float32 at or below: a float32 is at or below both or neither."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
