import { useCall } from "@jetrpc/react";
import type { ImageClient, ReadTextResponse } from "@jetrpc-examples/image-v1-client";
import { countText } from "./count-text.js";
import type { SentDocument, SentImage } from "./documents.js";
import { MarkedText } from "./marked-text.js";
import { Picture } from "./picture.js";
import { ReaderFrame } from "./reader-frame.js";
import { SearchField } from "./search-field.js";
import { stateText } from "./state-text.js";
import { useSearch } from "./use-search.js";
import { WorkProgress } from "./work-progress.js";

/** A picture is made at once: nobody waits for its progress. */
const options = { progress: false };

/** One image: a picture of it, and the lines of its text as they are read. */
export function ImageReader({
  image,
  isServed,
  id,
  document,
  remove,
}: {
  image: ImageClient;
  /** Whether a worker is there; undefined while that is not known. */
  isServed: boolean | undefined;
  id: string;
  /** Undefined where this browser has not sent it. */
  document: SentDocument | undefined;
  remove: (document: SentDocument) => void;
}) {
  const reading = useCall(image.readText, id);
  const preview = useCall(image.convert, id, options);
  const { state, messages: lines, progress } = reading;
  const { words, setWords, wanted, found, foundIn, isFoundIn } = useSearch(lines);
  const total = progress?.total ?? 0;
  const isDone = state === "succeeded";
  const size = document?.kind === "image" ? document : undefined;
  let text = stateText(state);
  if (isDone) {
    text = lines.length === 0 ? "There is no text" : `${countText(lines.length, "line")}, all read`;
  } else if (state === "running") {
    text = total === 0 ? "Looking for text" : `Line ${lines.length} of ${total}`;
  } else if (state === "cancelled") {
    text = `Canceled after ${countText(lines.length, "line")}`;
  }
  return (
    <ReaderFrame
      kind="image"
      document={document}
      calls={[reading, preview]}
      remove={remove}
      progress={
        <WorkProgress
          isServed={isServed}
          call={reading}
          text={text}
          label="Lines read"
          made={lines.length}
          total={total}
          isDone={isDone}
        />
      }
    >
      {lines.length > 0 && (
        <SearchField
          words={words}
          setWords={setWords}
          result={wanted && (found ? `${found} in ${countText(foundIn, "line")}` : "Nothing found")}
        />
      )}
      {(preview.result || lines.length > 0) && (
        <div className="page">
          <div className="picture">
            {preview.result ? (
              <div className="framed">
                <Picture picture={preview.result} alt={document?.name ?? "The image"} />
                {size && (
                  <Frames size={size} lines={lines.filter((_, index) => isFoundIn(index))} />
                )}
              </div>
            ) : (
              <span
                className="blank"
                style={size && { aspectRatio: `${size.width} / ${size.height}` }}
                aria-hidden="true"
              />
            )}
          </div>
          <ol className="text lines" aria-label="Lines of text">
            {lines.map(({ line, text }) => (
              <li key={line}>
                <MarkedText text={text} wanted={wanted} />
              </li>
            ))}
          </ol>
        </div>
      )}
    </ReaderFrame>
  );
}

/** Frames around lines, over the picture. The corners of lines are pixels of the image that was sent. */
function Frames({
  size: { width, height },
  lines,
}: {
  size: Pick<SentImage, "width" | "height">;
  lines: readonly ReadTextResponse[];
}) {
  return (
    <svg className="frames" viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      {lines.map(({ line, corners }) => (
        <polygon key={line} points={corners.map(({ x, y }) => `${x},${y}`).join(" ")} />
      ))}
    </svg>
  );
}
