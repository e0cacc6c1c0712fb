// A step of the build: turns the models of @upscalerjs/esrgan-slim, which are layers of Keras
// in TensorFlow.js' format, into ONNX. They take and give pixels of 0 to 255, by channels:
// 1 x 3 x height x width.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = dirname(fileURLToPath(import.meta.url));
const source = dirname(createRequire(import.meta.url).resolve("@upscalerjs/esrgan-slim")).split(
  "/dist/",
)[0];

mkdirSync(join(top, "dist/models"), { recursive: true });
for (const factor of [2, 4]) {
  const path = join(top, `dist/models/esrgan-slim-${factor}x.onnx`);
  writeFileSync(path, convert(join(source, `models/x${factor}`)));
}

function convert(folder) {
  const model = JSON.parse(readFileSync(join(folder, "model.json"), "utf8"));
  const weights = readWeights(folder, model.weightsManifest);
  const { layers, input_layers, output_layers } = model.modelTopology.model_config.config;
  const nodes = [];
  const constants = [];
  const rename = new Map();
  for (const { class_name: type, config, inbound_nodes } of layers) {
    const { name } = config;
    const inputs = (inbound_nodes[0] ?? []).map(([from]) => rename.get(from) ?? from);
    switch (type) {
      case "InputLayer":
        break;
      case "Conv2D": {
        const [kernel, bias] = [weights.get(`${name}/kernel`), weights.get(`${name}/bias`)];
        constants.push(tensor(`${name}/kernel`, ...byChannels(kernel)));
        constants.push(tensor(`${name}/bias`, bias.shape, bias.data));
        const [border] = config.kernel_size;
        const pad = config.padding === "same" ? (border - 1) / 2 : 0;
        nodes.push(
          node("Conv", [...inputs, `${name}/kernel`, `${name}/bias`], name, [
            ints("pads", [pad, pad, pad, pad]),
          ]),
        );
        if (config.activation !== "linear") {
          throw new Error(`${name}: activation ${config.activation} is not known`);
        }
        break;
      }
      case "Activation":
        if (config.activation !== "relu") {
          throw new Error(`${name}: activation ${config.activation} is not known`);
        }
        nodes.push(node("Relu", inputs, name));
        break;
      case "Concatenate":
        nodes.push(node("Concat", inputs, name, [int("axis", 1)]));
        break;
      case "Add":
        nodes.push(node("Add", inputs, name));
        break;
      case "UpSampling2D": {
        constants.push(tensor(`${name}/scales`, [4], Float32Array.of(1, 1, ...config.size)));
        const isNearest = config.interpolation === "nearest";
        nodes.push(
          node("Resize", [...inputs, "", `${name}/scales`], name, [
            text("mode", isNearest ? "nearest" : "linear"),
            text("coordinate_transformation_mode", isNearest ? "asymmetric" : "half_pixel"),
            ...(isNearest ? [text("nearest_mode", "floor")] : []),
          ]),
        );
        break;
      }
      default:
        throw new Error(`${name}: layer ${type} is not known`);
    }
  }
  const graph = [
    ...nodes.map((each) => field(1, each)),
    field(2, Buffer.from("esrgan-slim")),
    ...constants.map((each) => field(5, each)),
    field(11, valueInfo(input_layers[0][0])),
    field(12, valueInfo(output_layers[0][0])),
  ];
  const opset = field(2, varint(13), 0);
  return Buffer.concat([field(1, varint(8), 0), field(7, Buffer.concat(graph)), field(8, opset)]);
}

function readWeights(folder, manifest) {
  const weights = new Map();
  for (const { paths, weights: entries } of manifest) {
    const bytes = Buffer.concat(paths.map((path) => readFileSync(join(folder, path))));
    let at = 0;
    for (const { name, shape, dtype } of entries) {
      if (dtype !== "float32") {
        throw new Error(`${name}: type ${dtype} is not known`);
      }
      const count = shape.reduce((product, side) => product * side, 1);
      const data = Float32Array.from({ length: count }, (_, i) => bytes.readFloatLE(at + 4 * i));
      weights.set(name, { shape, data });
      at += 4 * count;
    }
  }
  return weights;
}

/** From Keras' height, width, in, out to ONNX' out, in, height, width. */
function byChannels({ shape: [height, width, inputs, outputs], data }) {
  const moved = new Float32Array(data.length);
  let to = 0;
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      for (let at = 0; at < height * width; at++) {
        moved[to++] = data[(at * inputs + i) * outputs + o];
      }
    }
  }
  return [[outputs, inputs, height, width], moved];
}

// What follows writes the protobuf messages of onnx.proto, by their field numbers.

function varint(value) {
  const bytes = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) | 128);
  }
  return Buffer.from([...bytes, rest]);
}

function field(number, bytes, wireType = 2) {
  const tag = varint(number * 8 + wireType);
  return wireType === 2
    ? Buffer.concat([tag, varint(bytes.length), bytes])
    : Buffer.concat([tag, bytes]);
}

function node(type, inputs, name, attributes = []) {
  return Buffer.concat([
    ...inputs.map((input) => field(1, Buffer.from(input))),
    field(2, Buffer.from(name)),
    field(3, Buffer.from(name)),
    field(4, Buffer.from(type)),
    ...attributes.map((attribute) => field(5, attribute)),
  ]);
}

function attribute(name, type, value) {
  return Buffer.concat([field(1, Buffer.from(name)), value, field(20, varint(type), 0)]);
}

function int(name, value) {
  return attribute(name, 2, field(3, varint(value), 0));
}

function ints(name, values) {
  return attribute(name, 7, Buffer.concat(values.map((value) => field(8, varint(value), 0))));
}

function text(name, value) {
  return attribute(name, 3, field(4, Buffer.from(value)));
}

function tensor(name, shape, data) {
  return Buffer.concat([
    ...shape.map((side) => field(1, varint(side), 0)),
    field(2, varint(1), 0),
    field(8, Buffer.from(name)),
    field(9, Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
  ]);
}

/** Floats of a shape 1 x 3 x height x width. */
function valueInfo(name) {
  const sides = [field(1, varint(1), 0), field(1, varint(3), 0)];
  const free = ["height", "width"].map((side) => field(2, Buffer.from(`${name}_${side}`)));
  const shape = Buffer.concat([...sides, ...free].map((side) => field(1, side)));
  const type = field(1, Buffer.concat([field(1, varint(1), 0), field(2, shape)]));
  return Buffer.concat([field(1, Buffer.from(name)), field(2, type)]);
}
