const HEAD_END = '\r\n\r\n';

/**
 * An HTTP answer that is whole as HTTP and whose body stops after `bytes`: the length is taken out of its head, so that the end of the
 * connection is the end of the body. What is no HTTP answer (TLS) is cut after `bytes` as it is.
 */
export function shortenAnswer(answer: Buffer, bytes: number): Buffer {
  const headEnd = answer.indexOf(HEAD_END);
  if (headEnd < 0 || !answer.subarray(0, 7).equals(Buffer.from('HTTP/1.'))) return answer.subarray(0, bytes);
  const lines = answer.subarray(0, headEnd).toString('latin1').split('\r\n');
  const isChunked = lines.some((line) => /^transfer-encoding:\s*chunked$/i.test(line));
  const kept = lines.filter((line) => !/^(content-length|transfer-encoding|connection|keep-alive):/i.test(line));
  const rest = answer.subarray(headEnd + HEAD_END.length);
  const body = isChunked ? rest.subarray(rest.indexOf('\r\n') + 2) : rest;
  return Buffer.concat([
    Buffer.from([...kept, 'Connection: close'].join('\r\n') + HEAD_END, 'latin1'),
    body.subarray(0, bytes),
  ]);
}
