import type { ReactNode } from "react";
import { Link } from "./link.js";

/** A figure with its name. Without a value it keeps its place. */
export function Tile({
  name,
  value,
  unit,
  note,
  href,
  tone = "",
}: {
  name: string;
  value: string | undefined;
  unit?: string;
  note?: ReactNode;
  href?: string;
  tone?: "" | "bad-text" | "warn-text";
}) {
  const content = (
    <>
      <span className="name">{name}</span>
      <span className={`value ${value === undefined ? "" : tone}`}>
        {value ?? (
          <span className="waits" aria-hidden="true">
            000
          </span>
        )}
        {unit && value !== undefined && <small> {unit}</small>}
      </span>
      {note && <span className="note">{note}</span>}
    </>
  );
  return href ? (
    <Link className="tile" href={href}>
      {content}
    </Link>
  ) : (
    <div className="tile">{content}</div>
  );
}
