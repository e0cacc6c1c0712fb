import type { JobContext } from "./child-process.js";
import { type Models, warm } from "./models.js";
import { halve, type Pixels, sample } from "./pixels.js";
import { type Corners, findBoxes } from "./text-boxes.js";

/** A line of text in an image. */
export interface TextLine {
  readonly line: number;
  readonly text: string;
  readonly confidence: number;
  readonly corners: Corners;
  readonly model: string;
}

/** Longer sides of what the detector is given on a GPU, where new shapes are slow. */
const detectorSides = [320, 640, 960, 1280, 1600];

/** Pixels of the longer side of what the detector is given, at most. */
const mostSide = 1600;

/** Sides of what the detector is given are whole multiples of this. */
const sideStep = 32;

/** Height of a line as the recognizer is given it. */
const lineHeight = 48;

/** Widths of lines are whole multiples of this: new shapes are slow on a GPU. */
const widthStep = 160;

/** Widest line as the recognizer is given it; a longer one is made narrower. */
const mostWidth = 3200;

/** The mean and the deviation of red, green and blue of the images that the detector learned by. */
const mean = [0.485, 0.456, 0.406];
const deviation = [0.229, 0.224, 0.225];

/** Finds the lines of an image and reads them, from the line after `skip` on. */
export async function readText(pixels: Pixels, models: Models, context: JobContext): Promise<void> {
  await context.step();
  const lines = await findLines(pixels, models);
  const levels = [pixels];
  for (const [index, corners] of lines.entries()) {
    if (index >= context.skip) {
      await context.step();
      const { text, confidence } = await readLine(levels, corners, models);
      const value: TextLine = {
        line: index + 1,
        text,
        confidence,
        corners,
        model: models.recognizer.name,
      };
      await context.emit({ value, done: index + 1, total: lines.length });
    }
  }
}

/** Runs the models once for each shape that they are given. Throws what {@link warm} throws. */
export async function warmText(models: Models): Promise<void> {
  const { detector, recognizer, characters, device } = models;
  const isGpu = device !== "cpu";
  for (const side of isGpu ? detectorSides : detectorSides.slice(0, 1)) {
    for (const [width, height] of shapesOf(side)) {
      await warm(detector, [1, 3, height, width], [1, 1, height, width]);
    }
  }
  for (let width = widthStep; width <= (isGpu ? mostWidth : widthStep); width += widthStep) {
    // For each step of the line, a probability of each character of the dictionary.
    await warm(recognizer, [1, 3, lineHeight, width], [1, -1, characters.length]);
  }
}

/** Shapes of a longer side: lying, standing and square. */
function shapesOf(side: number): [number, number][] {
  const short = Math.round((side * 0.75) / sideStep) * sideStep;
  return [
    [side, side],
    [side, short],
    [short, side],
  ];
}

/** How much smaller an image becomes so that it is within a shape. */
function scaleInto([width, height]: [number, number], image: Size): number {
  return Math.min(1, width / image.width, height / image.height);
}

type Size = Pick<Pixels, "width" | "height">;

/**
 * The shape in which the detector is given an image. On a CPU it is as small as the image: time
 * goes with pixels, and a new shape costs nothing. On a GPU it is one of a few.
 */
export function detectorShape(image: Size, isGpu: boolean): [number, number] {
  const longer = Math.max(image.width, image.height);
  if (!isGpu) {
    const scale = Math.min(1, mostSide / longer);
    const fit = (side: number) => Math.ceil(Math.max(1, side * scale) / sideStep) * sideStep;
    return [fit(image.width), fit(image.height)];
  }
  const shapes = shapesOf(detectorSides.find((each) => each >= longer) ?? mostSide);
  // The smallest shape in which the image keeps its size, or else its longer side fills it.
  shapes.sort((a, b) => scaleInto(b, image) - scaleInto(a, image) || a[0] * a[1] - b[0] * b[1]);
  return shapes[0] as [number, number];
}

async function findLines(pixels: Pixels, { detector, device }: Models): Promise<Corners[]> {
  const [width, height] = detectorShape(pixels, device !== "cpu");
  const scale = Math.min(
    scaleInto([width, height], pixels),
    mostSide / Math.max(pixels.width, pixels.height),
  );
  const [w, h] = [Math.round(pixels.width * scale), Math.round(pixels.height * scale)];
  let source = pixels;
  while (source.width >= 2 * w && source.width > 1 && source.height > 1) {
    source = halve(source);
  }
  const input = new Float32Array(3 * width * height);
  const plane = width * height;
  const [inner, rows] = [Math.max(1, w), Math.max(1, h)];
  sample(
    source,
    { x: 0, y: 0 },
    { x: source.width, y: 0 },
    { x: 0, y: source.height },
    inner,
    rows,
    (pixel, c, value) => {
      const x = pixel % inner;
      const to = c * plane + ((pixel - x) / inner) * width + x;
      input[to] = (value / 255 - (mean[c] as number)) / (deviation[c] as number);
    },
  );
  const map = await detector.run(input, [1, 3, height, width]);
  const boxes = findBoxes(map.data as Float32Array, width, height);
  const place = (point: { x: number; y: number }) => ({
    x: Math.max(0, Math.min(pixels.width, (point.x * pixels.width) / inner)),
    y: Math.max(0, Math.min(pixels.height, (point.y * pixels.height) / rows)),
  });
  return boxes.map(([a, b, c, d]) => [place(a), place(b), place(c), place(d)] as const);
}

/** Reads a line. `levels` are the image, its half, the half of that and so on, made when needed. */
async function readLine(
  levels: Pixels[],
  [start, end, , below]: Corners,
  { recognizer, characters }: Models,
): Promise<{ text: string; confidence: number }> {
  const along = { x: end.x - start.x, y: end.y - start.y };
  const down = { x: below.x - start.x, y: below.y - start.y };
  const [length, thickness] = [Math.hypot(along.x, along.y), Math.hypot(down.x, down.y)];
  if (!(length >= 1 && thickness >= 1)) {
    return { text: "", confidence: 0 };
  }
  const wide = Math.round((lineHeight * length) / thickness);
  const inner = Math.max(1, Math.min(mostWidth, wide));
  const width = Math.ceil(inner / widthStep) * widthStep;
  let level = 0;
  while (thickness / 2 ** level >= 2 * lineHeight) {
    level++;
    levels[level] ??= halve(levels[level - 1] as Pixels);
  }
  const shrink = ({ x, y }: { x: number; y: number }) => ({ x: x / 2 ** level, y: y / 2 ** level });
  const input = new Float32Array(3 * lineHeight * width);
  const plane = lineHeight * width;
  sample(
    levels[level] as Pixels,
    shrink(start),
    shrink(along),
    shrink(down),
    inner,
    lineHeight,
    (pixel, c, value) => {
      const x = pixel % inner;
      // The recognizer learned by images whose channels are blue, green, red.
      input[(2 - c) * plane + ((pixel - x) / inner) * width + x] = value / 127.5 - 1;
    },
  );
  const output = await recognizer.run(input, [1, 3, lineHeight, width]);
  return decode(output.data as Float32Array, output.dims[2] as number, characters);
}

/** A space is taken for one above this probability: the recognizer is too shy of them. */
const spaceAbove = 0.01;

/** Before a mark of which the left side touches a word, it is not. */
const closing = /[.,;:!?)\]}]/;
const spaceBeforeClosing = 0.3;

/**
 * What CTC means: the best class of each step, without repetitions and without class 0; and
 * a space where one is likely between two characters, if only less so than nothing.
 */
function decode(
  probabilities: Float32Array,
  classes: number,
  characters: readonly string[],
): { text: string; confidence: number } {
  const space = characters.length - 1;
  let text = "";
  let sum = 0;
  let count = 0;
  let last = 0;
  let gap = 0;
  for (let start = 0; start < probabilities.length; start += classes) {
    let best = 0;
    for (let each = 1; each < classes; each++) {
      if ((probabilities[start + each] as number) > (probabilities[start + best] as number)) {
        best = each;
      }
    }
    gap = Math.max(gap, probabilities[start + space] as number);
    if (best !== 0 && best !== last) {
      if (best !== space) {
        const character = characters[best] ?? "";
        const isApart = gap > (closing.test(character) ? spaceBeforeClosing : spaceAbove);
        text += `${isApart && text !== "" ? " " : ""}${character}`;
        gap = 0;
      }
      sum += probabilities[start + best] as number;
      count++;
    }
    last = best;
  }
  return { text, confidence: count > 0 ? Math.min(1, sum / count) : 0 };
}
