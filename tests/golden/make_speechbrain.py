"""Writes speechbrain-* of this folder: recognizers of SpeechBrain's BEST-RQ fine-tuning recipe, from closed formulas only.

    pip install torch torchaudio speechbrain==1.0.3 safetensors sentencepiece numpy && python tests/golden/make_speechbrain.py

The modules are those of train_with_bestrq.py (Fbank, InputNormalization, ConvolutionFrontEnd, EncoderWrapper, the head of
three layers, ctc_lin), small; weights and audio are waves of their index. `speechbrain-characters.*` has a CTCTextEncoder
as label encoder, `speechbrain-pieces.*` a SentencePiece model whose first piece stands for the blank. Each has the weights
as the checkpointer's files name them, the recipe's values, and what SpeechBrain makes of `speechbrain-audio`:
log-probabilities and the text of its greedy decoder.
"""

import io
import json
from pathlib import Path

import sentencepiece
import torch
import torchaudio

# SpeechBrain 1.0 asks for it; later versions of torchaudio have no back ends.
if not hasattr(torchaudio, "list_audio_backends"):
    torchaudio.list_audio_backends = lambda: ["none"]

import speechbrain as sb
from safetensors.torch import save_file
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import EncoderWrapper, TransformerASR
from speechbrain.processing.features import InputNormalization

HERE = Path(__file__).parent
SECONDS = [1.31, 0.95]
SENTENCES = ["the cat sat on the mat", "that man has no hat", "on the mat a cat", "she had the hat"]


def wave(shape, phase, scale=1.0, shift=0.0):
    """shift + scale * sin(phase + 0.9 n + 0.0371 n^2) at element n."""
    n = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (shift + scale * torch.sin(phase + 0.9 * n + 0.0371 * n * n)).float().reshape(shape)


def audio(seconds):
    """Three gliding tones that swell, as 16-bit samples."""
    t = torch.arange(int(seconds * 16000), dtype=torch.float64) / 16000
    glides = [(180, 90), (950, -300), (2700, 500)]
    tones = sum(torch.sin(2 * torch.pi * (f * t + g * t * t)) / (i + 1) for i, (f, g) in enumerate(glides))
    return (tones * (0.55 + 0.45 * torch.sin(11 * t)) * 8000).round().to(torch.int16)


def modules(attention, outputs, d_model=16, width=24):
    leaky = torch.nn.LeakyReLU()
    head = sb.nnet.containers.Sequential(input_shape=[None, None, d_model])
    for i in (1, 2, 3):
        head.append(sb.nnet.linear.Linear, n_neurons=width, bias=True, layer_name=f"linear{i}")
        head.append(sb.nnet.normalization.LayerNorm, layer_name=f"bn{i}")
        head.append(leaky, layer_name=f"activation{i}")
        if i < 3:
            head.append(torch.nn.Dropout(p=0.15), layer_name=f"drop{i}")
    cnn = ConvolutionFrontEnd(
        input_shape=(8, 10, 80), num_blocks=2, num_layers_per_block=1, out_channels=(4, 2), kernel_sizes=(3, 3),
        strides=(2, 2), residuals=(False, False),
    )
    transformer = TransformerASR(
        input_size=40, tgt_vocab=50, d_model=d_model, nhead=2, num_encoder_layers=2, num_decoder_layers=0, d_ffn=24,
        dropout=0.1, activation=torch.nn.GELU, conformer_activation=torch.nn.GELU, encoder_module="conformer",
        attention_type=attention, normalize_before=True, causal=False,
    )
    encoder = EncoderWrapper(transformer)
    last = sb.nnet.linear.Linear(input_size=width, n_neurons=outputs)
    return torch.nn.ModuleDict({
        "pt_model": torch.nn.ModuleList([cnn, encoder]), "model": torch.nn.ModuleList([head, last]),
    })


def fill(model):
    """Weights that are waves; what normalizes stays near one. The output layer is large, so that frames differ."""
    for phase, (name, parameter) in enumerate(model.named_parameters()):
        scale = 1.2 / max(parameter[0].numel(), 1) ** 0.5 if parameter.dim() > 1 else 0.2
        near_one = name.endswith("weight") and ("norm" in name or ".bn" in name or parameter.dim() == 1)
        if name.startswith("model.1."):
            scale *= 2
        parameter.data = wave(parameter.shape, phase, 0.3 if near_one else scale, 1.0 if near_one else 0.0)


def write(name, attention, outputs, decode):
    model = modules(attention, outputs).eval()
    fill(model)
    features = Fbank(sample_rate=16000, n_fft=400, n_mels=80)
    normalize = InputNormalization(norm_type="global", update_until_epoch=0)
    normalize.glob_mean = torch.linspace(-30, 5, 80)
    normalize.glob_std = torch.linspace(4, 7, 80)

    def run(samples):
        wavs, lens = (samples.float() / 32768)[None], torch.ones(1)
        with torch.no_grad():
            feats = normalize(features(wavs), lens, epoch=10)
            encoded = model["pt_model"][1](model["pt_model"][0](feats), lens)
            return model["model"][1](model["model"][0](encoded)), lens

    # Without what all frames have in common, their best tokens differ.
    model["model"][1].w.bias.data -= run(audio(SECONDS[0]))[0].mean((0, 1))
    tensors = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
    tensors = {key: value for key, value in tensors.items() if not key.endswith((".pe", ".inv_freq"))}
    tensors |= {"normalize.glob_mean": normalize.glob_mean, "normalize.glob_std": normalize.glob_std}
    save_file(tensors, HERE / f"speechbrain-{name}.safetensors")
    results, texts = {}, []
    for i, seconds in enumerate(SECONDS):
        logits, lens = run(audio(seconds))
        log_probabilities = torch.log_softmax(logits, -1)
        ids = sb.decoders.ctc_greedy_decode(log_probabilities, lens, blank_id=0)[0]
        results[f"log_probabilities.{i}"] = log_probabilities[0].contiguous()
        texts.append(decode(ids))
        print(name, log_probabilities.shape, ids, texts[-1])
    save_file(results, HERE / f"speechbrain-{name}-results.safetensors")
    values = {
        "attention_type": attention, "d_model": 16, "nhead": 2, "num_encoder_layers": 2, "d_ffn": 24,
        "transformer_dropout": 0.1, "activation": "torch.nn.GELU", "conformer_activation": "torch.nn.GELU",
        "encoder_module": "conformer", "normalize_before": True, "causal": False, "cnn_channels": [4, 2],
        "output_neurons_ctc": outputs, "blank_index": 0, "dnn_neurons": 24, "dnn_dropout": 0.15, "n_fft": 400,
        "n_mels": 80, "sample_rate": 16000, "number_of_epochs": 30, "lr": 0.0003, "batch_size": 6,
    }
    (HERE / f"speechbrain-{name}.json").write_text(json.dumps({"values": values, "texts": texts}, indent=1) + "\n")


save_file({str(i): audio(seconds) for i, seconds in enumerate(SECONDS)}, HERE / "speechbrain-audio.safetensors")
encoder = sb.dataio.encoder.CTCTextEncoder()
encoder.insert_blank(index=0)
encoder.update_from_iterable((list(s.upper() + " IT'S") for s in SENTENCES), sequence_input=True)
encoder.save(HERE / "speechbrain-characters.txt")
write("characters", "RelPosMHAXL", len(encoder), lambda ids: "".join(encoder.decode_ndim(ids)))

trained = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(s.upper() for s in SENTENCES * 4), model_writer=trained, vocab_size=20, model_type="unigram",
    bos_id=-1, eos_id=-1, unk_id=0, normalization_rule_name="identity", minloglevel=2,
)
(HERE / "speechbrain-pieces.model").write_bytes(trained.getvalue())
pieces = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
write("pieces", "regularMHA", pieces.get_piece_size(), pieces.decode_ids)
