/* Databases as former versions left them, with something in each of their tables. */
#ifndef STORE_VERSIONS_H
#define STORE_VERSIONS_H

/** In a room of its own (room_up_empty()); room_down() ends it. */
void set_up_version_1(void);
void set_up_version_2(void);
void set_up_version_3(void);
void set_up_version_4(void);

/** Into one of version 3: renewals signed by the key that holds their transactionID. */
void set_up_renewals_of_one_key(void);

#endif
