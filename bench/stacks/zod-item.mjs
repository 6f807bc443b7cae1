import { z } from 'zod'

/** ITEM_SCHEMA, as zod says it. */
export const Item = z.strictObject({
  name: z.string().min(1).max(100),
  description: z.string().max(500),
  price: z.number().min(0),
  quantity: z.int().min(0).max(1000),
  email: z.email().max(200),
  tags: z.array(z.string().max(30)).max(10),
})
