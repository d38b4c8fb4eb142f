"""Adds or changes entries of a Samba AD, as the system itself: ldif.py add|modify SMB.CONF SAM.LDB < LDIF

{SID NAME} is the SID of the account of that name, {BASE} the domain's DN. A security descriptor stands
there in SDDL."""
import re
import sys

from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

verb, conf, path = sys.argv[1:]
lp = LoadParm()
lp.load(conf)
db = SamDB(url=path, session_info=system_session(), lp=lp)


def sid_of(match):
    found = db.search(base=db.domain_dn(), expression="(sAMAccountName=%s)" % match.group(1), attrs=["objectSid"])
    return str(ndr_unpack(security.dom_sid, found[0]["objectSid"][0]))


text = sys.stdin.read().replace("{BASE}", str(db.domain_dn()))
text = re.sub(r"\{SID ([^}]+)\}", sid_of, text)
if verb == "sid":
    print(text.strip())
elif verb == "add":
    db.add_ldif(text)
else:
    db.modify_ldif(text)
