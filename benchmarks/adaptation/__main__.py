from benchmarks.adaptation.run import main

main()
