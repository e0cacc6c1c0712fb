import { useEffect, useState } from "react";
import type { Session } from "./session.js";

/** How often it is asked, in ms. */
const askMs = 10_000;

/** Whether a service has a worker, as long as the page is looked at; undefined while that is not known. */
export function useIsServed({ isServed }: Session, service: string): boolean | undefined {
  const [answer, setAnswer] = useState<boolean>();
  useEffect(() => {
    let hasLeft = false;
    const look = async () => {
      if (document.visibilityState === "visible") {
        const its = await isServed(service);
        if (!hasLeft && its !== undefined) {
          setAnswer(its);
        }
      }
    };
    void look();
    const timer = setInterval(look, askMs);
    document.addEventListener("visibilitychange", look);
    return () => {
      hasLeft = true;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [isServed, service]);
  return answer;
}
