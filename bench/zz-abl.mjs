import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { isUtf8 } from 'node:buffer'
const D=process.argv[2] ?? '/work/main/dist/'
const { secretKeyring } = await import(D+'lib/auth/keyring.js')
const { createTokenCodec } = await import(D+'lib/auth/tokens.js')
const { createSignatureCheck } = await import(D+'lib/auth/signature.js')
const { createAccessCodec } = await import(D+'lib/auth/session-tokens.js')
const { createUserModel } = await import(D+'lib/auth/users.js')
const { TokenCache } = await import(D+'lib/auth/token-cache.js')
const { createId } = await import(D+'lib/auth/rotation.js')
const ACCESS=randomBytes(32).toString('base64url'); const keyring=secretKeyring(ACCESS)
const now=Math.floor(Date.now()/1000)
const claims = () => ({ sub: createId(), sid: createId(), roles: ['user'], tv: 0, auth_time: now, amr: ['pwd'], iat: now, exp: now+900, jti: createId() })
const codec=createAccessCodec({users:createUserModel(['user'],null),accessKeys:keyring,issuer:'bulwark',audience:'bulwark-api',accessTtlSeconds:900})
const toks=Array.from({length:20000},()=>codec.sign(claims()))
const check=createSignatureCheck('HS256',keyring.current.verifyWith)
const buf=(t)=>Buffer.from('__Host-access='+t,'latin1'); const bufs=toks.map(buf)
let n=0
const next=()=>bufs[n++%20000].latin1Slice(14)
const canon=(segment)=>{const bytes=Buffer.from(segment,'base64url'); if(bytes.toString('base64url')!==segment||!isUtf8(bytes)) return null; const text=bytes.toString(); const p=JSON.parse(text); return JSON.stringify(p)===text?p:null}
const scratch=Buffer.alloc(4096)
const canon2=(segment)=>{const len=scratch.base64urlWrite(segment,0); const text=scratch.utf8Slice(0,len); const p=JSON.parse(text); if(JSON.stringify(p)!==text) return null; scratch.utf8Write(text,0); return scratch.base64urlSlice(0,len)===segment?p:null}
const nocache=createTokenCodec({typ:'at+jwt',keyring,issuer:'bulwark',audience:'bulwark-api',lifetimeSeconds:900,cache:0,parse:()=>({iat:now,exp:now+900})})
const cache=new TokenCache(1024)
const V={
 text:()=>next().length,
 cache:()=>{cache.add?cache.add({token:next(),value:true,until:1}):cache.set(next(),true)},
 hmac:()=>{const t=next();const e=t.length-44;if(!check.isValid(t.slice(0,e),t.slice(e+1)))throw 1},
 canon:()=>{const t=next();const h=t.indexOf('.');if(!canon(t.slice(h+1,t.length-44)))throw 1},
 canon2:()=>{const t=next();const h=t.indexOf('.');if(!canon2(t.slice(h+1,t.length-44)))throw 1},
 nouser:()=>{if(typeof nocache.verify(next(),now)==='string')throw 1},
 whole:()=>{if(typeof codec.verify(next(),now)==='string')throw 1},
}
const R={}
for(let r=0;r<60;r++) for(const k in V){const f=V[k];const u=process.cpuUsage();for(let i=0;i<2000;i++) f();const d=process.cpuUsage(u);(R[k]??=[]).push((d.user+d.system)/2000)}
for(const k in R){const s=R[k].slice(5).sort((x,y)=>x-y);console.log(k.padEnd(8),s[0].toFixed(2),s[s.length>>2].toFixed(2),s[s.length>>1].toFixed(2))}
