import { useEffect, useState } from "react";

/** A WebP picture that a worker has made. */
export interface MadePicture {
  readonly image: Uint8Array;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

/** Shows a picture. */
export function Picture({ picture, alt }: { picture: MadePicture; alt: string }) {
  const { image, width, height } = picture;
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const url = URL.createObjectURL(
      new Blob([image as Uint8Array<ArrayBuffer>], { type: "image/webp" }),
    );
    setUrl(url);
    return () => URL.revokeObjectURL(url);
  }, [image]);
  return <img src={url} alt={alt} width={width} height={height} loading="lazy" />;
}
