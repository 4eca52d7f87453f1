"""The Triton backend of every text model: texts in, scores out.

A model folder holds `model.onnx` and `tokenizer.json`; which tasks it scores is known to the graph alone. One output
comes from here: `unknown`, the share of a text's tokens that the tokenizer does not know.
Runs inside Triton's Python stub, so it imports nothing of this project.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

UNKNOWN = "unknown"
# Texts that run together, all of about one length. On a CPU small ones stay in a core's cache, and cores that each run
# slices of their own never wait for another: 1.25 times as fast as slices of 64 that all cores share.
SLICE = {"CPU": 16, "GPU": 64}


class TritonPythonModel:
    """One version of one model."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"], args["model_version"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=_providers(args)
        )
        kind = "CPU" if self.session.get_providers()[0] == "CPUExecutionProvider" else "GPU"
        # In a container os.cpu_count() is the machine's, whatever the container may use of it.
        cores = int(os.environ.get("ENCODER_THREADS") or os.cpu_count() or 1)
        self.slice, self.pool = SLICE[kind], ThreadPoolExecutor(cores if kind == "CPU" else 1)
        self.inputs = {tensor.name for tensor in self.session.get_inputs()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.pad_id = (self.tokenizer.padding or {"pad_id": 0})["pad_id"]
        self.unknown_id = _unknown_id(self.tokenizer)
        self.tokenizer.no_padding()  # each slice is padded to its own longest text instead
        _check_outputs(self.session, json.loads(args["model_config"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Score the texts of all requests together. A request with a text that has no score fails alone."""
        tokens: list[list[int]] = []
        spans: list[tuple[int, int] | pb_utils.TritonError] = []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()
            try:
                ids = self._tokenize(texts)
            except ValueError as error:
                spans.append(pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
            else:
                spans.append((len(tokens), len(tokens) + len(ids)))
                tokens += ids
        wanted = sorted({name for request in requests for name in request.requested_output_names()})
        of_graph = [name for name in wanted if name != UNKNOWN]
        scores = self._score(tokens, of_graph) if of_graph else {}  # ONNX Runtime takes none for all
        if UNKNOWN in wanted:
            shares = [ids.count(self.unknown_id) / len(ids) for ids in tokens]
            scores[UNKNOWN] = np.array(shares, np.float32).reshape(-1, 1)
        return [_response(request, span, scores) for request, span in zip(requests, spans, strict=True)]

    def _tokenize(self, texts: Any) -> list[list[int]]:
        """Token ids a text. Raises ValueError naming the position of the first text that has none."""
        decoded: list[str] = []
        for position, text in enumerate(texts):
            try:
                decoded.append(text.decode())
            except UnicodeDecodeError:
                raise ValueError(f"text {position} of the request is not UTF-8") from None
            if not decoded[-1].strip():
                raise ValueError(f"text {position} of the request is empty")
        ids: list[list[int]] = [encoding.ids for encoding in self.tokenizer.encode_batch(decoded)]
        for position, tokens in enumerate(ids):
            if not tokens:
                raise ValueError(f"text {position} of the request has no token")
        return ids

    def _score(self, tokens: list[list[int]], wanted: list[str]) -> dict[str, Any]:
        """Output name to an array [len(tokens), …]. Sorted by length, a slice holds little padding."""
        order = sorted(range(len(tokens)), key=lambda text: len(tokens[text]))
        slices = [order[start : start + self.slice] for start in range(0, len(order), self.slice)]
        scores: dict[str, Any] = {}
        parts = self.pool.map(lambda rows: self._run([tokens[row] for row in rows], wanted), slices)
        for rows, outputs in zip(slices, parts, strict=True):
            for name, output in zip(wanted, outputs, strict=True):
                if name not in scores:
                    scores[name] = np.empty((len(tokens), *output.shape[1:]), np.float32)
                scores[name][rows] = output
        return scores

    def _run(self, tokens: list[list[int]], wanted: list[str]) -> list[Any]:
        """The wanted outputs for one slice."""
        ids = np.full((len(tokens), max(map(len, tokens))), self.pad_id, np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
        feed = {"input_ids": ids, "attention_mask": mask}
        outputs: list[Any] = self.session.run(wanted, {name: feed[name] for name in self.inputs})
        return outputs


def _providers(args: dict[str, str]) -> list[Any]:
    cpu = ["CPUExecutionProvider"]
    if args["model_instance_kind"] != "GPU":
        return cpu
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pb_utils.Logger.log_warn(
            "instance group is KIND_GPU but this ONNX Runtime has no CUDA: scoring on the CPU"
        )
        return cpu
    return [("CUDAExecutionProvider", {"device_id": args["model_instance_device_id"]}), *cpu]


def _unknown_id(tokenizer: Tokenizer) -> int:
    """-1, which no token has, where the tokenizer knows everything."""
    model = json.loads(tokenizer.to_str())["model"]
    number = model["unk_id"] if "unk_id" in model else tokenizer.token_to_id(model.get("unk_token") or "")
    return -1 if number is None else int(number)


def _check_outputs(session: onnxruntime.InferenceSession, config: dict[str, Any]) -> None:
    given = {UNKNOWN, *(tensor.name for tensor in session.get_outputs())}
    missing = {output["name"] for output in config["output"]} - given
    if missing:
        raise pb_utils.TritonModelException(f"model.onnx lacks outputs of config.pbtxt: {sorted(missing)}")


def _response(request: Any, span: Any, scores: dict[str, Any]) -> Any:
    if isinstance(span, pb_utils.TritonError):
        return pb_utils.InferenceResponse(error=span)
    start, stop = span
    names = request.requested_output_names()
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, scores[name][start:stop]) for name in names])
