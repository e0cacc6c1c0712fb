import type { RenderPagesResponse } from "@jetrpc-examples/pdf-v1-client";
import { memo } from "react";
import { MarkedText } from "./marked-text.js";
import { Picture } from "./picture.js";

/** A page: its picture, and its text beside it. */
export const Page = memo(function Page({
  number,
  picture,
  text,
  isTextComing,
  wanted,
}: {
  number: number;
  picture: RenderPagesResponse | undefined;
  text: string | undefined;
  /** False once the call that reads the text is over. */
  isTextComing: boolean;
  /** Words to mark. */
  wanted: string;
}) {
  return (
    <li className="page" aria-label={`Page ${number}`}>
      <div className="picture">
        {picture ? (
          <Picture picture={picture} alt={`Page ${number}`} />
        ) : (
          <span className="blank" aria-hidden="true" />
        )}
        <span className="number" aria-hidden="true">
          {number}
        </span>
      </div>
      <div className="text">
        {text === undefined ? (
          <p className="hint">
            {isTextComing ? "The text comes soon." : "The text of this page was not read."}
          </p>
        ) : (
          <PageText text={text} wanted={wanted} />
        )}
      </div>
    </li>
  );
});

function PageText({ text, wanted }: { text: string; wanted: string }) {
  return text.trim() === "" ? (
    <p className="hint">There is no text on this page.</p>
  ) : (
    <MarkedText text={text} wanted={wanted} />
  );
}
