/* st_words.c - see st_words.h. */
#include "st_words.h"

#define S(text)                                                                                                        \
    {                                                                                                                  \
        "" text, sizeof(text) - 1                                                                                      \
    }
#define WORDS(name, ...)                                                                                               \
    static const struct slice name##_list[] = {__VA_ARGS__};                                                           \
    const struct st_words name = {name##_list, ST_COUNT(name##_list)}

WORDS(st_first_names, S("James"), S("Mary"), S("Robert"), S("Patricia"), S("John"), S("Jennifer"), S("Michael"),
      S("Linda"), S("David"), S("Elizabeth"), S("William"), S("Barbara"), S("Richard"), S("Susan"), S("Joseph"),
      S("Jessica"), S("José"), S("María"), S("Zoë"), S("Siobhán"), S("Nguyễn"), S("Łukasz"), S("Søren"), S("D'Andre"),
      S("Renée"), S("Bj\\u00f6rn"), S("Anne-Marie"), S("Mohammed"), S("Priya"), S("Wei"), S("Yuki"), S("Olga"));
WORDS(st_last_names, S("Smith"), S("Johnson"), S("Williams"), S("Brown"), S("Jones"), S("Garcia"), S("Miller"),
      S("Davis"), S("Rodriguez"), S("Martinez"), S("Hernandez"), S("Lopez"), S("Gonzalez"), S("Wilson"), S("Anderson"),
      S("Thomas"), S("O'Brien"), S("Müller"), S("Núñez"), S("Fitzgerald-Smythe"), S("van der Berg"), S("Šťastný"),
      S("McDonald"), S("St. John"), S("Peña"), S("Kowalski"), S("Nakamura"), S("Singh"), S("Chen"), S("Okafor"),
      S("Ivanov"), S("Doe \\\"JD\\\""));
WORDS(st_companies, S("Sunrise Apartments LLC"), S("Oak & Pine Dental"), S("Café Noir"), S("Smith \\/ Sons, Inc."),
      S("Grand \\\"G\\\" Hotel"), S("東京 Sushi House"), S("City of Riverside"), S("Bayview HOA"),
      S("ACME Storage #12"), S("Señor Taco's"), S("North\\u2013South Logistics"), S("First Baptist Church"),
      S("Green Valley School District"), S("Lakeside Property Mgmt"), S("Ho\\\\Ho Imports"),
      S("Miller <Brothers> Auto"));
WORDS(st_streets, S(" Oak St"), S(" Maple Ave"), S(" Cedar Ln"), S(" W 4th St"), S(" Martin Luther King Jr Blvd"),
      S(" Main Street"), S(" Elm Ct"), S(" Highway 99"), S(" Sunset Dr"), S(" Camino Peñasco"), S(" Rue de l'Église"),
      S(" Park Place"), S(" Washington Blvd"), S(" Lake Shore Dr"), S(" N 1st Ave"), S(" County Road 12\\u00bd"),
      S(" Hillcrest Rd"), S(" Cherry Tree Way"), S(" Mission St"), S(" Old Mill Rd"));
WORDS(st_units, S("Apt 4"), S("#12"), S("Unit B"), S("Ste 300"), S("Bldg C, 2nd fl"), S("½"), S("Lot 7"));
WORDS(st_complaints, S("<p>AC not cooling, blowing <b>warm</b> air. "), S("No hot water since this morning. "),
      S("Furnace short-cycling &amp; loud. "), S("Annual tune-up \\u2014 two systems. "),
      S("Customer says \\\"it smells like burning\\\".<br/>"),
      S("Leak under kitchen sink, shut-off valve stuck.\\r\\n"), S("Thermostat reads 88°F, set to 72°F. "),
      S("Estimate for 3-ton heat pump replacement. "), S("Breaker trips when dryer runs.\\t"),
      S("Water heater pilot won't stay lit. "), S("Sewer line back-up; main clean-out in garage\\\\side yard. "),
      S("水漏れ — kitchen ceiling. "), S("Warranty callback 🔧 same noise as before. "),
      S("New construction rough-in, see plans. "), S("Panel upgrade to 200A. "), S("Maintenance visit. "));
WORDS(st_findings, S("Replaced capacitor and tested, system within spec.</p>"),
      S("Customer declined repairs, see estimate."), S("Gate code #4321*, dog in yard."),
      S("Parts on order, ETA 5\\u20137 days."), S("Cleared line 75 ft, camera showed roots at 62'."),
      S("Recommended replacement <i>(unit is 17 yrs old)</i>."), S("Paid by check at door 👍"),
      S("Needs return trip with second tech."), S(""), S("Left voicemail; call before arrival: 555\\u20110142."),
      S("Verified operation, ΔT = 19°F."), S("Left site clean. “Great service!”"));
WORDS(st_memos, S("Imported"), S("Direct Adjustment"), S("paid at door"), S("see notes \\/ attachments"),
      S("Überstunden"), S("bonus – Q3"), S("split 50\\/50"), S("ok\\nok"));
WORDS(st_trades, S("HVAC - Service"), S("HVAC - Install"), S("Plumbing - Service"), S("Plumbing - Drain"),
      S("Electrical"), S("Commercial"), S("Maintenance"), S("Garage Doors"));
WORDS(st_job_types, S("Service Call"), S("Tune-Up"), S("Install \\u2013 System"), S("Drain Clearing"),
      S("Water Heater"), S("Estimate"), S("Warranty"), S("Emergency (after hours)"), S("Inspection"),
      S("Panel Upgrade"), S("Recall"), S("Maintenance Visit"));
WORDS(st_campaign_names, S("Google Ads"), S("Yelp"), S("Direct Mail"), S("Referral"), S("Website \\/ Organic"),
      S("Radio KFBK"), S("Truck Wrap"), S("Facebook"), S("Home Show"), S("Nextdoor"), S("Billboard I-80"),
      S("E-mail \\\"Spring Tune-Up\\\""), S("Angi"), S("Repeat Customer"), S("TV Spot"), S("Niños Little League"));
WORDS(st_media, S("Digital"), S("Print"), S("Radio"), S("TV"), S("Outdoor"), S("Word of mouth"));

const struct st_town st_towns[] = {
    {S("Sacramento"), S("CA"), S("95814"), 385816, -1214944},
    {S("Roseville"), S("CA"), S("95661"), 387521, -1212880},
    {S("San José"), S("CA"), S("95112"), 373382, -1218863},
    {S("Boise"), S("ID"), S("83702"), 436150, -1162023},
    {S("Portland"), S("OR"), S("97204"), 455152, -1226784},
    {S("Phoenix"), S("AZ"), S("85004"), 334484, -1120740},
    {S("Austin"), S("TX"), S("78701-1234"), 302672, -977431},
    {S("Boston"), S("MA"), S("02108"), 423601, -710589},
    {S("Cañon City"), S("CO"), S("81212"), 384494, -1052253},
    {S("Coeur d'Alene"), S("ID"), S("83814"), 476777, -1167805},
    {S("Québec"), S("QC"), S("G1R 4P5"), 468139, -712080},
    {S("Elk Grove"), S("CA"), S("95624"), 384088, -1213716},
};
const uint32_t st_town_count = ST_COUNT(st_towns);

const struct st_sku st_skus[] = {
    {S("SVC-DIAG"), S("Diagnostic Fee"), S("<p>Diagnose system and present options</p>"), S("Service"), 8900},
    {S("HVAC-TUNE"), S("Precision Tune-Up"), S("21-point inspection &amp; cleaning"), S("Service"), 12900},
    {S("CAP-45-5"), S("Dual Run Capacitor 45\\/5 µF"), S("Replace failed capacitor"), S("Material"), 24750},
    {S("FLT-20x25x4"), S("Filter 20\\\"x25\\\"x4\\\""), S("MERV 11 media filter"), S("Material"), 4599},
    {S("HP-3T-16"), S("3 Ton Heat Pump, 16 SEER2"), S("<ul><li>Remove old unit</li><li>Install new unit</li></ul>"),
     S("Equipment"), 842500},
    {S("WH-50G"), S("50 gal Water Heater"), S("Atmospheric vent, 6-year warranty"), S("Equipment"), 189900},
    {S("DRN-75"), S("Main Line Clear, up to 75'"), S("Clear stoppage from clean-out"), S("Service"), 32500},
    {S("R410A"), S("Refrigerant R-410A (lb)"), S("Per pound"), S("Material"), 11995},
    {S("DISC-10"), S("Senior Discount"), S("Thank you!"), S("PriceModifier"), -2500},
    {S("EL-PANEL200"), S("200A Panel Upgrade"), S("Permit incl. \\u2013 2 day job"), S("Service"), 385000},
    {S("THERM-WIFI"), S("Wi-Fi Thermostat"), S("Installed and paired with customer's phone"), S("Equipment"), 34900},
    {S("MEM-GOLD"), S("Gold Membership (annual)"), S("2 visits per year, 15 % off"), S("Service"), 19900},
};
const uint32_t st_sku_count = ST_COUNT(st_skus);
