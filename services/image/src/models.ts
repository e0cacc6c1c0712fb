import { access, readFile } from "node:fs/promises";
import { basename } from "node:path";
import * as ort from "onnxruntime-node";
import { firstLine, ImageError } from "./image-error.js";

// What fails is thrown. It is printed as well, in red, where "auto" only looks whether there is a GPU.
ort.env.logLevel = "fatal";

/** The files of the models, and how they run. */
export interface ModelSetup {
  readonly detector: string;
  readonly recognizer: string;
  readonly dictionary: string;
  readonly upscalers: Readonly<Record<2 | 4, string>>;
  /** "auto", "cpu" or "cuda:0". */
  readonly device: string;
  /** Threads of a model on a CPU. */
  readonly threads: number;
}

/** A model that is loaded. */
export interface LoadedModel {
  readonly name: string;
  /** Runs it on an input of a shape. The event loop stands still meanwhile. */
  run(data: Float32Array, shape: readonly number[]): Promise<ort.Tensor>;
}

/** All models of a process, on one device. */
export interface Models {
  /** "cpu" or "cuda:0". */
  readonly device: string;
  /** Why "auto" took the CPU; empty when there is nothing to say. */
  readonly note: string;
  readonly detector: LoadedModel;
  readonly recognizer: LoadedModel;
  readonly upscalers: Readonly<Record<2 | 4, LoadedModel>>;
  /** The characters that the recognizer knows, by their class; class 0 is none. */
  readonly characters: readonly string[];
}

/**
 * Loads all models. Throws FailedPrecondition for a file that is missing or damaged, and for
 * "cuda" where there is none.
 */
export async function loadModels(setup: ModelSetup): Promise<Models> {
  // onnxruntime tries no second provider by itself when the libraries of the first are missing.
  if (setup.device !== "auto") {
    return { ...(await loadOn(setup.device, setup)), note: "" };
  }
  const isListed = ort.listSupportedBackends().some(({ name }) => name === "cuda");
  const note = isListed
    ? await loadOn("cuda:0", setup).catch((error: Error) => error)
    : new Error("this build of onnxruntime has no CUDA");
  return note instanceof Error
    ? { ...(await loadOn("cpu", setup)), note: note.message }
    : { ...note, note: "" };
}

async function loadOn(device: string, setup: ModelSetup): Promise<Omit<Models, "note">> {
  const dictionary = await readFile(setup.dictionary, "utf8").catch((cause) => {
    throw unreadable("dictionary", setup.dictionary, cause);
  });
  const load = (path: string) => loadModel(path, device, setup.threads);
  const detector = await load(setup.detector);
  const recognizer = await load(setup.recognizer);
  const upscalers = { 2: await load(setup.upscalers[2]), 4: await load(setup.upscalers[4]) };
  const characters = ["", ...dictionary.replace(/\r?\n$/, "").split(/\r?\n/), " "];
  return { device, detector, recognizer, upscalers, characters };
}

async function loadModel(path: string, device: string, threads: number): Promise<LoadedModel> {
  const [provider, id = "0"] = device.split(":");
  await access(path).catch((cause) => {
    throw unreadable("model file", path, cause);
  });
  const session = await ort.InferenceSession.create(path, {
    executionProviders: [provider === "cuda" ? { name: "cuda", deviceId: Number(id) } : "cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Memory that a run frees is kept for the next one: to get it from the system each time takes
    // longer than the model. Planned as one block for each shape, it would be kept twice.
    enableCpuMemArena: true,
    enableMemPattern: false,
    // A thread that waits leaves its core to others.
    extra: { session: { intra_op: { allow_spinning: "0" } } },
    logSeverityLevel: 4,
  }).catch((error: Error) => {
    throw explain(error, path, device);
  });
  const [input = "", output = ""] = [session.inputNames[0], session.outputNames[0]];
  return {
    name: basename(path),
    async run(data, shape) {
      const results = await session.run({ [input]: new ort.Tensor("float32", data, shape) });
      return results[output] as ort.Tensor;
    },
  };
}

/**
 * Runs a model once, on an empty input of a shape: later runs are faster. Throws
 * FailedPrecondition when the model takes no such input, or gives an output of another shape.
 */
export async function warm(
  { name, run }: LoadedModel,
  input: readonly number[],
  output: readonly number[],
): Promise<void> {
  const wrong = (found: string) =>
    new ImageError(
      "FailedPrecondition",
      `the model file ${name} does not fit what it is for (${found}): name another one, or the dictionary that belongs to it, see README.md of the image service`,
    );
  const size = input.reduce((product, side) => product * side, 1);
  const { dims } = await run(new Float32Array(size), input).catch((error: Error) => {
    throw wrong(firstLine(error));
  });
  if (dims.length !== output.length || output.some((side, i) => side >= 0 && side !== dims[i])) {
    const wanted = output.map((side) => (side < 0 ? "any" : side)).join(" x ");
    throw wrong(`it gives ${dims.join(" x ")} for ${input.join(" x ")}, and not ${wanted}`);
  }
}

function unreadable(what: string, path: string, cause: Error): ImageError {
  return new ImageError(
    "FailedPrecondition",
    `the ${what} ${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? cause.message}): name another one, see README.md of the image service`,
  );
}

function explain(error: Error, path: string, device: string): ImageError {
  const reason = firstLine(error);
  // The CPU's provider is in the package: without a GPU, what fails is the file.
  return device.startsWith("cuda")
    ? new ImageError(
        "FailedPrecondition",
        `no model runs on ${device} (${reason}): install NVIDIA's driver, CUDA 12 and cuDNN 9, run ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install, or set IMAGE_DEVICE=cpu`,
      )
    : new ImageError(
        "FailedPrecondition",
        `the model file ${path} is damaged or no ONNX model (${reason}): copy it again`,
      );
}
