import type { RenderPagesResponse } from "@jetrpc-examples/pdf-v1-client";
import { memo, useEffect, useState } from "react";
import { splitMatches } from "./search.js";

/** A page: its picture, and its text beside it. */
export const Page = memo(function Page({
  number,
  picture,
  text,
  wanted,
}: {
  number: number;
  picture: RenderPagesResponse | undefined;
  text: string | undefined;
  /** Words to mark. */
  wanted: string;
}) {
  return (
    <li className="page" aria-label={`Page ${number}`}>
      <div className="picture">
        {picture ? <Picture picture={picture} /> : <span className="blank" aria-hidden="true" />}
        <span className="number" aria-hidden="true">
          {number}
        </span>
      </div>
      <div className="text">
        {text === undefined ? (
          <p className="hint">The text comes soon.</p>
        ) : (
          <Text text={text} wanted={wanted} />
        )}
      </div>
    </li>
  );
});

function Text({ text, wanted }: { text: string; wanted: string }) {
  if (text.trim() === "") {
    return <p className="hint">There is no text on this page.</p>;
  }
  return splitMatches(text, wanted).map((piece, index) =>
    // The pieces of a text do not move.
    // biome-ignore lint/suspicious/noArrayIndexKey: see above
    index % 2 === 1 ? <mark key={index}>{piece}</mark> : piece,
  );
}

function Picture({ picture: { page, image, width, height } }: { picture: RenderPagesResponse }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const url = URL.createObjectURL(
      new Blob([image as Uint8Array<ArrayBuffer>], { type: "image/webp" }),
    );
    setUrl(url);
    return () => URL.revokeObjectURL(url);
  }, [image]);
  return <img src={url} alt={`Page ${page}`} width={width} height={height} loading="lazy" />;
}
