import type { AnchorHTMLAttributes, MouseEvent } from "react";
import { goTo } from "./location.js";

/** A link to a page of the console, which is shown without loading it anew. */
export function Link({
  href = "",
  onClick,
  ...rest
}: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string }) {
  const go = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    const opensElsewhere = event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
    if (!event.defaultPrevented && event.button === 0 && !opensElsewhere && !rest.target) {
      event.preventDefault();
      goTo(href);
      scrollTo(0, 0);
    }
  };
  return <a href={href} onClick={go} {...rest} />;
}
