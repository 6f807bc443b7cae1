/** Thrown by `withDeadline`; the operation itself goes on, its late result is dropped. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded'
}

/**
 * Rejects with `DeadlineExceeded` when the operation is not done after `milliseconds`. The timer of a process that was
 * busy runs before it has read the answer that lies in its socket, so the socket gets one last look (`setImmediate`).
 */
export async function withDeadline<T> (operation: Promise<T>, milliseconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expiry = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      setImmediate(() => { reject(new DeadlineExceeded(`not done within ${milliseconds} ms`)) })
    }, milliseconds)
  })
  try {
    return await Promise.race([operation, expiry])
  } finally {
    clearTimeout(timer)
  }
}
