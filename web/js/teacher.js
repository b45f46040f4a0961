// The worker behind `adapt`: a model learns in it, on a device of its own, and is given back as files.

import { monoOf } from "./channels.js";
import init, { Download, Learner, lastPanic } from "./polymix_train.js";
import { CodedError, serve, watchDevices } from "./serve.js";
import { library, modelFiles } from "./source.js";

/** Adds an example; what is wrong with it is told with its number. */
function add(learner, { channels, sampleRate, channel, told, classified }, number) {
  try {
    learner.add(monoOf(channels, channel).samples, sampleRate, told, classified);
  } catch (error) {
    if (!error?.code) throw error;
    throw new CodedError(error.code, `examples[${number}]: ${error.message}`);
  }
}

const calls = {
  async learn({ source, settings, examples }, progress) {
    watchDevices();
    const url = new URL("./polymix_train_bg.wasm", import.meta.url);
    const ready = library(url, init, source.stallMs).then(() => ({ Download }));
    const { files } = await modelFiles(source, () => ready);
    const learner = await Learner.open(...files);
    examples.forEach((example, number) => add(learner, example, number));
    const card = source.files?.["README.md"];
    const before = card ? new TextDecoder().decode(card) : "# polymix model";
    const learned = await learner.adapt(JSON.stringify(settings), before, (told) => progress(JSON.parse(told)));
    return { ...JSON.parse(learned.report), files: Object.fromEntries(learned.files()) };
  },
};

serve(calls, lastPanic);
