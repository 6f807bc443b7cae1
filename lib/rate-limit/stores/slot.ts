export { slotOf } from '../../redis/slot.js'
